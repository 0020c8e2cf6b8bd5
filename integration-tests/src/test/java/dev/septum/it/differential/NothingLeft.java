package dev.septum.it.differential;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kvm.Host;

/** The end of a host without VMs: every page and every object is back. */
final class NothingLeft {

  private NothingLeft() {}

  static void on(Host host) {
    host.kernel().rcu().barrier();
    assertThat(host.pages().taken()).as("pages that did not come back").isEmpty();
    assertThat(host.pages().objects()).as("objects that did not come back").isEmpty();
  }
}
