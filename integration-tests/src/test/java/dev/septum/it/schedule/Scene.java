package dev.septum.it.schedule;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.KernelThread;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.PageOwner;
import dev.septum.kernel.schedule.ScheduledKernel;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;

/**
 * A host with its VMs at rest, the threads that will race there, and what is looked at afterwards.
 * At the end the host's invariants hold, and when it is taken down every page is back.
 */
abstract class Scene {

  private final ScheduledKernel kernel;
  private final Map<String, Supplier<?>> actors = new LinkedHashMap<>();
  private final Map<String, Supplier<?>> findings = new LinkedHashMap<>();

  Scene(ScheduledKernel kernel) {
    this.kernel = kernel;
  }

  final ScheduledKernel kernel() {
    return kernel;
  }

  abstract PageAllocator pages();

  /** One sentence for each invariant that does not hold. */
  abstract List<String> violations();

  abstract void takeDown();

  /** Adds a thread; what it answers is part of the end. */
  final Scene actor(String name, Supplier<?> body) {
    actors.put(name, body);
    return this;
  }

  /** Adds a thread without an answer. */
  final Scene actor(String name, Runnable body) {
    return actor(
        name,
        () -> {
          body.run();
          return "";
        });
  }

  /** Adds something to look at, or to do, when all threads have ended. */
  final Scene then(String name, Supplier<?> finding) {
    findings.put(name, finding);
    return this;
  }

  /** Lets the threads race; how it ended, in words. */
  final String play() {
    Map<String, Object> answers = new LinkedHashMap<>();
    List<KernelThread> threads = new ArrayList<>();
    actors.forEach((name, body) -> answers.put(name, ""));
    actors.forEach(
        (name, body) -> threads.add(kernel.spawn(name, () -> answers.put(name, body.get()))));
    threads.forEach(KernelThread::join);
    kernel.rcu().barrier();
    findings.forEach((name, finding) -> answers.put(name, finding.get()));
    assertThat(violations()).as("violated invariants").isEmpty();
    takeDown();
    assertEverythingIsBack();
    List<String> end = new ArrayList<>();
    answers.forEach((name, answer) -> end.add(answer.equals("") ? "" : name + ": " + answer));
    end.removeIf(String::isEmpty);
    return String.join(", ", end);
  }

  private void assertEverythingIsBack() {
    assertThat(pages().census()).containsEntry(PageOwner.FREE, pages().totalPages());
    assertThat(pages().recount()).isEqualTo(pages().census());
    assertThat(pages().objects()).isEmpty();
  }
}
