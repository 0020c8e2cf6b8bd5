package dev.septum.it;

import dev.septum.kvm.TraceSink;
import dev.septum.tdx.module.SeamcallLeaf;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Which SEAMCALLs a host makes while a test wants to know. */
final class SeamcallLog implements TraceSink {

  private static final String LEAF = "leaf=";

  private volatile @Nullable List<SeamcallLeaf> calls;

  /** The leaf functions that are called, by whatever thread, while a body runs. */
  List<SeamcallLeaf> during(Runnable body) {
    List<SeamcallLeaf> made = Collections.synchronizedList(new ArrayList<>());
    calls = made;
    try {
      body.run();
    } finally {
      calls = null;
    }
    return made;
  }

  @Override
  public boolean isOn() {
    return calls != null;
  }

  @Override
  public void event(String name, String fields) {
    List<SeamcallLeaf> made = calls;
    if (made != null && name.equals("septum_seamcall")) {
      made.add(SeamcallLeaf.valueOf(fields.substring(LEAF.length(), fields.indexOf(' '))));
    }
  }
}
