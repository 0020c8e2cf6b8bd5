package dev.septum.tdx.module;

import com.google.common.base.Verify;
import dev.septum.kernel.LockMode;
import org.jspecify.annotations.Nullable;

/** The locked path from a 1G entry down to the leaf that stands for a page. */
final class PamtWalk {

  private final PamtEntry[] path = new PamtEntry[3];
  private final LockMode leafMode;
  private int length;

  private PamtWalk(LockMode leafMode) {
    this.leafMode = leafMode;
  }

  /**
   * Walks to the leaf for {@code hpa}, no deeper than {@code target}; null if a lock is taken.
   * Entries above the leaf are locked shared; a large leaf is locked shared, then upgraded.
   */
  static @Nullable PamtWalk start(Pamt pamt, long hpa, int target, LockMode leafMode) {
    PamtWalk walk = new PamtWalk(leafMode);
    return walk.descend(pamt, hpa, target) ? walk : null;
  }

  PamtEntry leaf() {
    return Verify.verifyNotNull(path[length - 1]);
  }

  void release() {
    for (int i = length - 1; i >= 0; i--) {
      path[i].unlock(i == length - 1 ? leafMode : LockMode.SHARED);
    }
    length = 0;
  }

  private boolean descend(Pamt pamt, long hpa, int target) {
    for (int level = 2; level > 0; level--) {
      PamtEntry entry = pamt.entry(hpa, level);
      if (!entry.tryLock(LockMode.SHARED)) {
        return refuse();
      }
      if (pamt.isWalkOver(entry, target)) {
        return push(entry) && (leafMode == LockMode.SHARED || upgradeLeaf());
      }
      push(entry);
    }
    PamtEntry entry = pamt.entry(hpa, 0);
    return entry.tryLock(leafMode) ? push(entry) : refuse();
  }

  private boolean push(PamtEntry entry) {
    path[length++] = entry;
    return true;
  }

  private boolean upgradeLeaf() {
    if (leaf().tryUpgrade()) {
      return true;
    }
    length--;
    return refuse();
  }

  /** Lets go of the ancestors, all of them held shared. */
  private boolean refuse() {
    while (length > 0) {
      path[--length].unlock(LockMode.SHARED);
    }
    return false;
  }
}
