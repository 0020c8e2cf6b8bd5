package dev.septum.lab.bootlog;

/** Where the knowledge of a RAM range comes from, best first. */
public enum RangeSource {
  /** The kernel's own list of RAM ("Early memory node ranges"), complete in the log. */
  NODE_RANGES("node ranges"),
  /** The firmware's map as the kernel prints it. */
  E820("BIOS-e820"),
  /** The UEFI memory map ({@code efi=debug}). */
  EFI("efi map"),
  /** The affinity table: RAM with firmware's own parts still in it. */
  SRAT("ACPI SRAT"),
  /** The kernel's own list of RAM, cut in the log. */
  PARTIAL_NODE_RANGES("node ranges (cut)"),
  /** What the guest accepted, by the unaccepted bitmap's base and the accept_memory calls. */
  ACCEPTED("accept_memory"),
  /** The ends of memory: zones, nodes, last_pfn; less the holes that are known. */
  MEMORY_ENDS("ends of memory"),
  /** Nothing in the log. */
  ASSUMED("assumed");

  private final String text;

  RangeSource(String text) {
    this.text = text;
  }

  /** The source as reports name it. */
  @Override
  public String toString() {
    return text;
  }
}
