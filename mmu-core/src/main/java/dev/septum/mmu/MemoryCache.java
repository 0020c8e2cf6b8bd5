package dev.septum.mmu;

import dev.septum.kvm.Errno;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.function.Consumer;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * Objects taken in advance, so that a fault needs no allocation under mmu_lock ({@code
 * kvm_mmu_memory_cache}). A LIFO stack of one vCPU.
 */
final class MemoryCache<T> {

  private static final int CAPACITY = 40;

  private final Supplier<@Nullable T> allocator;
  private final Consumer<T> releaser;
  private final Deque<T> objects = new ArrayDeque<>();

  MemoryCache(Supplier<@Nullable T> allocator, Consumer<T> releaser) {
    this.allocator = allocator;
    this.releaser = releaser;
  }

  /**
   * Fills up to capacity if fewer than {@code min} are left; ENOMEM if {@code min} can't be had.
   */
  Errno topup(int min) {
    if (objects.size() >= min) {
      return Errno.OK;
    }
    while (objects.size() < CAPACITY) {
      T object = allocator.get();
      if (object == null) {
        return objects.size() >= min ? Errno.OK : Errno.ENOMEM;
      }
      objects.push(object);
    }
    return Errno.OK;
  }

  /** Takes the object put in last; there must be one. */
  T alloc() {
    T object = objects.poll();
    if (object == null) {
      throw new IllegalStateException("memory cache is empty: it was not topped up");
    }
    return object;
  }

  int size() {
    return objects.size();
  }

  void freeAll() {
    objects.forEach(releaser);
    objects.clear();
  }
}
