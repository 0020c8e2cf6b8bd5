package dev.septum.mmu;

import dev.septum.kvm.PageLevel;
import java.util.ArrayList;
import java.util.List;
import java.util.function.LongUnaryOperator;

/** Trace events as the kernel prints them, to compare with. */
final class Events {

  static final String FLUSH = "flush_remote_tlbs: ";

  private Events() {}

  static String changed(long gfn, int level, long oldSpte, long newSpte) {
    return changedIn(0, gfn, level, oldSpte, newSpte);
  }

  static String changedIn(int asId, long gfn, int level, long oldSpte, long newSpte) {
    return "kvm_tdp_mmu_spte_changed: as id %d gfn %x level %d old_spte %x new_spte %x"
        .formatted(asId, gfn, level, oldSpte, newSpte);
  }

  /** One change for each of 512 neighbouring 4K entries, their values given for offset 0 to 511. */
  static List<String> changed512(long gfn, LongUnaryOperator oldSpte, LongUnaryOperator newSpte) {
    List<String> events = new ArrayList<>();
    for (long i = 0; i < 512; i++) {
      events.add(changed(gfn + i, 1, oldSpte.applyAsLong(i), newSpte.applyAsLong(i)));
    }
    return events;
  }

  static String newPage(long gfn, int level) {
    return "kvm_mmu_get_page: " + page(gfn, level) + " new";
  }

  static String zappedPage(long gfn, int level) {
    return "kvm_mmu_prepare_zap_page: " + page(gfn, level);
  }

  private static String page(long gfn, int level) {
    return "sp gen 0 gfn %x l%d 8-byte q0 direct wux nxe ad root 0 sync".formatted(gfn, level);
  }

  static String split(long gfn, long spte, int level, int errno) {
    return "kvm_mmu_split_huge_page: gfn %x spte %x level %d errno %d"
        .formatted(gfn, spte, level, errno);
  }

  static String requested(long gfn, PageLevel level) {
    return "kvm_mmu_spte_requested: gfn %x pfn %x level %d".formatted(gfn, gfn, level.number());
  }

  /** The events of some kinds, by the beginnings of their names. */
  static List<String> only(List<String> events, String... beginnings) {
    return events.stream()
        .filter(event -> List.of(beginnings).stream().anyMatch(event::startsWith))
        .toList();
  }
}
