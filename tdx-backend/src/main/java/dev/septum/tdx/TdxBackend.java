package dev.septum.tdx;

/** The sound TDX backend: it does what the huge page series should have done. */
public final class TdxBackend implements TdBackend {

  @Override
  public TdxDesign design() {
    return TdxDesign.SOUND;
  }
}
