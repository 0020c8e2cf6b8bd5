package dev.septum.lab.seamcall;

import com.google.common.collect.ImmutableList;
import dev.septum.tdx.module.PageType;
import dev.septum.tdx.module.SeamRegs;
import dev.septum.tdx.module.SeamcallLeaf;
import dev.septum.tdx.module.SeptState;
import dev.septum.tdx.module.TdxModuleView.PagePairView;
import dev.septum.tdx.module.TdxStatus;
import java.util.Arrays;

/** Looks at the S-EPT and the PAMT of an address, with the SEAMCALLs that a host has for that. */
final class Inspection {

  private static final int TOP_LEVEL = 3;
  private static final long RANGE = 2L << 20;
  private static final long HPA = 0x000F_FFFF_FFFF_F000L;

  private final Machine machine;

  Inspection(Machine machine) {
    this.machine = machine;
  }

  /** Each S-EPT entry on the way to {@code gpa}, and the PAMT of what is mapped there. */
  ImmutableList<String> walk(long tdr, long gpa) {
    ImmutableList.Builder<String> lines = ImmutableList.builder();
    for (int level = TOP_LEVEL; level >= 0; level--) {
      SeamRegs entry = read(tdr, gpa, level);
      if (!TdxStatus.isSuccess(entry.rax)) {
        lines.add("S-EPT: " + StatusText.of(entry.rax));
        break;
      }
      SeptState state = stateOf(entry);
      lines.add(
          "S-EPT %s, entry %016x%s"
              .formatted(StatusText.entry(entry.rdx), entry.rcx, table(tdr, gpa, level)));
      if (state.isLeaf()) {
        lines.addAll(pamt(entry.rcx & HPA));
      }
      if (state != SeptState.NL_MAPPED) {
        break;
      }
    }
    return lines.build();
  }

  /** The state of the entry at {@code gpa}, of this level; or why there is none. */
  String septState(long tdr, long gpa, int level) {
    SeamRegs entry = read(tdr, gpa, level);
    return TdxStatus.isSuccess(entry.rax)
        ? stateOf(entry).name()
        : StatusText.of(TdxStatus.code(entry.rax)).replaceFirst(";.*", "");
  }

  /** The PAMT entry of {@code hpa}, and the page pair of its range. */
  ImmutableList<String> pamt(long hpa) {
    SeamRegs found = readPamt(hpa);
    if (!TdxStatus.isSuccess(found.rax)) {
      return ImmutableList.of("PAMT 0x%x: %s".formatted(hpa, StatusText.of(found.rax)));
    }
    String owner = found.rdx == 0 ? "" : ", owner 0x%x".formatted(found.rdx);
    String epoch = found.r9 == 0 ? "" : ", BEPOCH %d".formatted(found.r9);
    return ImmutableList.of(
        "PAMT 0x%x: %s, level %d%s%s".formatted(hpa, typeOf(found), found.r8, owner, epoch),
        "PAMT range 0x%x: %s".formatted(hpa & -RANGE, pair(hpa & -RANGE)));
  }

  /** The type of the page at {@code hpa}; or why there is none. */
  String pageType(long hpa) {
    SeamRegs found = readPamt(hpa);
    return TdxStatus.isSuccess(found.rax) ? typeOf(found).name() : StatusText.of(found.rax);
  }

  private String pair(long range) {
    if (!machine.module().config().dynamicPamt()) {
      return "static PAMT";
    }
    PagePairView pair = machine.module().view().pamtPairs().get(range);
    return pair == null
        ? "no page pair"
        : "page pair 0x%x 0x%x, %d pages in use"
            .formatted(pair.page0(), pair.page1(), pair.pageCount());
  }

  private String table(long tdr, long gpa, int level) {
    return machine.module().view().tables(tdr).stream()
        .filter(t -> t.level() == level && t.gpa() == (gpa & -(4096L << (9 * level))))
        .map(t -> ", table 0x%x".formatted(t.hpa()))
        .findFirst()
        .orElse("");
  }

  private SeamRegs read(long tdr, long gpa, int level) {
    long aligned = gpa & -(4096L << (9 * level));
    SeamRegs regs = SeamRegs.leaf(SeamcallLeaf.TDH_MEM_SEPT_RD).rcx(aligned | level).rdx(tdr);
    machine.call(regs);
    return regs;
  }

  private SeamRegs readPamt(long hpa) {
    SeamRegs regs = SeamRegs.leaf(SeamcallLeaf.TDH_PHYMEM_PAGE_RDMD).rcx(hpa);
    machine.call(regs);
    return regs;
  }

  private static SeptState stateOf(SeamRegs entry) {
    int arch = (int) (entry.rdx >>> 8) & 0xFF;
    return Arrays.stream(SeptState.values())
        .filter(state -> state.arch() == arch)
        .findFirst()
        .orElseThrow();
  }

  private static PageType typeOf(SeamRegs found) {
    int code = (int) found.rcx & 0xF;
    return Arrays.stream(PageType.values())
        .filter(type -> type.code() == code)
        .findFirst()
        .orElseThrow();
  }
}
