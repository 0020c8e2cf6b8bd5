package dev.septum.tdx.module;

import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;

/**
 * What debug TDs' pages were written with by MEM.WR: 64-bit words by HPA. All else in a page, and
 * all of a page that nobody wrote, reads as 0.
 */
final class PageContents {

  private final Map<Long, Map<Long, Long>> words = new ConcurrentHashMap<>();

  long read(long hpa) {
    return words.getOrDefault(page(hpa), Map.of()).getOrDefault(hpa, 0L);
  }

  void write(long hpa, long value) {
    words.computeIfAbsent(page(hpa), key -> new ConcurrentHashMap<>()).put(hpa, value);
  }

  /** The {@code pages} 4K pages from {@code hpa} on are zero. */
  void zero(long hpa, long pages) {
    if (words.isEmpty()) {
      return;
    }
    for (long i = 0; i < pages; i++) {
      words.remove(page(hpa) + i);
    }
  }

  /** Copies one 4K page over another. */
  void copy(long from, long to) {
    words.remove(page(to));
    Map<Long, Long> copied = words.getOrDefault(page(from), Map.of());
    copied.forEach((at, value) -> write(to + (at - from), value));
  }

  /** Every word that was written, by HPA. */
  Map<Long, Long> words() {
    Map<Long, Long> all = new TreeMap<>();
    words.values().forEach(all::putAll);
    return all;
  }

  private static long page(long hpa) {
    return hpa >>> 12;
  }
}
