package dev.septum.mmu.bad;

import dev.septum.dpamt.Dpamt;
import dev.septum.tdx.KvmTdx;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;

/** Breaks the rules that the MMU sees no backend, and that locks are the kernel's. */
public final class SeesABackend {
  @Nullable KvmTdx kvm;
  @Nullable Dpamt dpamt;
  final AtomicLong count = new AtomicLong();
  final ReentrantLock lock = new ReentrantLock();

  synchronized void start(Runnable body) {
    new Thread(body).start();
  }

  void await() throws InterruptedException {
    synchronized (lock) {
      while (count.get() == 0) {
        lock.wait();
      }
    }
  }
}
