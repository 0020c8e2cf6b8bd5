package dev.septum.kit;

import dev.septum.kernel.LockClass;
import dev.septum.kernel.PageOwner;
import dev.septum.kernel.SharedWord;
import dev.septum.kernel.SpinLock;
import dev.septum.kvm.Host;
import dev.septum.kvm.Kvm;
import dev.septum.kvm.KvmX86Ops;
import dev.septum.kvm.VmType;
import dev.septum.kvm.reference.ReferenceVm;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;

/** A VM of the reference with a cache for splits; whether it is used is the ops' decision. */
final class CachingVm extends ReferenceVm {

  final SpinLock lock;
  final SharedWord count;
  final Deque<Long> queue = new ArrayDeque<>();

  /** Pages that splits have drawn and keep. */
  final List<Long> drawn = new ArrayList<>();

  /** Words for wrong backends to count in. */
  final SharedWord scratch;

  final SharedWord trueScratch;
  boolean refusesNextSplit;

  CachingVm(int id, Host host, KvmX86Ops ops, VmType type) {
    super(id, host, ops, type);
    lock = kernel().spinLock(LockClass.PREALLOC_SPLIT_CACHE_LOCK);
    count = kernel().word(0);
    scratch = kernel().word(0);
    trueScratch = kernel().word(0);
  }

  static CachingVm of(Kvm kvm) {
    return (CachingVm) kvm;
  }

  /** Adds one to a word as two threads at once must not, and to another as they may. */
  void countRacily() {
    trueScratch.addAndGet(1);
    scratch.set(scratch.get() + 1);
  }

  long lostCounts() {
    return trueScratch.get() - scratch.get();
  }

  void freeAll() {
    queue.forEach(page -> pages().freePage(page, PageOwner.PAMT_CACHE));
    queue.clear();
    count.set(0);
    drawn.forEach(page -> pages().freePage(page, PageOwner.PAMT_PAGE));
    drawn.clear();
  }
}
