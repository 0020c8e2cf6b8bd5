package dev.septum.tdx;

/** The TDX backend as posted in version 3 of the huge page series, defects included. */
public final class TdxV3Backend implements TdBackend {

  @Override
  public String description() {
    return "TDX as posted: huge pages v3 on Dynamic PAMT v4, defects included";
  }

  @Override
  public TdxDesign design() {
    return TdxDesign.POSTED_V3;
  }
}
