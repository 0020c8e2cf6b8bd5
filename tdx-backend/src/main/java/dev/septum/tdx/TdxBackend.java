package dev.septum.tdx;

/** The sound TDX backend: it does what the huge page series should have done. */
public final class TdxBackend implements TdBackend {

  @Override
  public String description() {
    return "TDX as the huge page series should have it: a failure changes nothing";
  }

  @Override
  public TdxDesign design() {
    return TdxDesign.SOUND;
  }
}
