package dev.septum.lab.conform;

import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * What one side's frames are used for.
 *
 * <p>Allocators differ, and frames are freed and used again. A use ends when the table is taken
 * down, so the same frame can stand for several tables, one after the other, but never for two at
 * once.
 */
final class FrameLedger {

  private final Map<Long, FrameId> tables = new HashMap<>();
  private final Map<Long, FrameId> pages = new HashMap<>();

  /** Every use there ever was. */
  private final Map<FrameId, Long> frames = new HashMap<>();

  /** How many uses a place has had, by its first. */
  private final Map<FrameId, Integer> uses = new HashMap<>();

  private int roots;
  private @Nullable Long root;

  /** The frame that was, or is, used for this. */
  @Nullable Long frameOf(FrameId id) {
    return frames.get(id);
  }

  /** A table is linked: what was in its frame before is gone. */
  void link(int level, long gfn, long frame) {
    tables.put(frame, use(level, gfn, frame));
  }

  /** The table in the frame was taken down. */
  void unlink(long frame) {
    tables.remove(frame);
  }

  /** The table that is in the frame; if none is known, then that of this place. */
  FrameId table(int level, long gfn, long frame) {
    return tables.computeIfAbsent(frame, f -> use(level, gfn, f));
  }

  /** The page that is in the frame; if none is known, then that of this gfn. */
  FrameId page(long gfn, long frame) {
    return pages.computeIfAbsent(frame, f -> use(FrameId.PAGE, gfn, f));
  }

  /** All pages but these may have been given back. */
  void keepPages(Set<Long> mapped) {
    pages.keySet().retainAll(mapped);
  }

  /** A root is allocated; its frame becomes known with the next dump. */
  void newRoot() {
    tables.remove(root);
    root = null;
    roots++;
  }

  /** The table that is in the root's frame. */
  FrameId root(int level, long frame) {
    if (root == null) {
      root = frame;
      FrameId id = new FrameId(level, 0, roots);
      tables.putIfAbsent(frame, id);
      frames.put(id, frame);
    }
    return table(level, -1, frame);
  }

  private FrameId use(int level, long gfn, long frame) {
    int number = uses.merge(new FrameId(level, gfn, 0), 1, Integer::sum);
    FrameId id = new FrameId(level, gfn, number);
    frames.put(id, frame);
    return id;
  }
}
