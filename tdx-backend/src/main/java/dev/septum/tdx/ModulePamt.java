package dev.septum.tdx;

import dev.septum.dpamt.PagePair;
import dev.septum.dpamt.PamtAddStatus;
import dev.septum.dpamt.PamtSeamcalls;
import dev.septum.tdx.module.SeamRegs;
import dev.septum.tdx.module.TdxStatus;
import org.jspecify.annotations.Nullable;

/** PAMT.ADD and PAMT.REMOVE as Dynamic PAMT wants them. */
record ModulePamt(Seamcalls seamcalls) implements PamtSeamcalls {

  @Override
  public PamtAddStatus add(long rangePfn, PagePair pair) {
    SeamRegs result = seamcalls.phymemPamtAdd(rangePfn, pair.first(), pair.second());
    if (Seamcalls.isOk(result)) {
      return PamtAddStatus.ADDED;
    }
    if (Seamcalls.isBusy(result)) {
      return PamtAddStatus.BUSY;
    }
    return TdxStatus.code(result.rax) == TdxStatus.TDX_HPA_RANGE_NOT_FREE
        ? PamtAddStatus.RANGE_NOT_FREE
        : PamtAddStatus.FAILED;
  }

  @Override
  public @Nullable PagePair remove(long rangePfn) {
    SeamRegs result = seamcalls.phymemPamtRemove(rangePfn);
    return Seamcalls.isOk(result)
        ? new PagePair(Seamcalls.pfnOfHpa(result.rdx), Seamcalls.pfnOfHpa(result.r8))
        : null;
  }
}
