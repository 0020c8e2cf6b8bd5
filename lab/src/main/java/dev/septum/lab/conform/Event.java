package dev.septum.lab.conform;

/**
 * A trace event in the kernel's own text.
 *
 * @param name the event, such as {@code kvm_tdp_mmu_spte_changed}
 * @param fields what is printed behind the name; of a kprobe, what follows the place that it probes
 */
public record Event(String name, String fields) {

  @Override
  public String toString() {
    return fields.isEmpty() ? name : name + ": " + fields;
  }
}
