package dev.septum.kit;

import dev.septum.kernel.Kernel;
import dev.septum.kernel.KernelThread;
import dev.septum.kernel.Placement;
import dev.septum.mmu.VcpuMmu;
import java.util.ArrayList;
import java.util.List;
import java.util.function.UnaryOperator;

/** The host of one schedule of a race. Nothing is taken down there in the end. */
final class RaceHost {

  private final BackendKit kit;
  private final WatchedKernel kernel;
  private final List<KitVm> vms = new ArrayList<>();
  private final List<Runnable> actors = new ArrayList<>();

  RaceHost(BackendKit kit, Kernel kernel) {
    this.kit = kit;
    this.kernel = new WatchedKernel(kernel);
  }

  /** A VM on this host. */
  KitVm newVm() {
    KitVm vm = kit.newVm(KitVm.newHost(kernel, Placement.SEQUENTIAL));
    kit.watch(vm, UnaryOperator.identity());
    vm.vcpus().forEach(VcpuMmu::load);
    vms.add(vm);
    return vm;
  }

  WatchedKernel kernel() {
    return kernel;
  }

  List<KitVm> vms() {
    return vms;
  }

  /** Adds a thread. */
  RaceHost actor(Runnable body) {
    actors.add(
        () -> {
          try {
            body.run();
          } catch (NotJudged e) {
            kit.doubt(e);
            throw e;
          }
        });
    return this;
  }

  /** Lets the threads race; returns when all have ended. */
  void play() {
    List<KernelThread> threads = new ArrayList<>();
    for (Runnable body : actors) {
      threads.add(kernel.spawn("actor" + threads.size(), body));
    }
    threads.forEach(KernelThread::join);
    kernel.rcu().barrier();
  }
}
