package dev.septum.lab;

import com.google.common.collect.Lists;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;

/** Many independent runs on every core. */
public final class InParallel {

  /** Runs between two looks at the progress. */
  private static final int BATCH = 256;

  private InParallel() {}

  /** What a function makes of each input, in the order of the inputs. */
  public static <I, O> List<O> map(
      String what, List<I> inputs, Function<I, O> function, Progress progress) {
    progress.phase(what, inputs.size());
    List<O> outputs = new ArrayList<>(inputs.size());
    for (List<I> batch : Lists.partition(inputs, BATCH)) {
      outputs.addAll(batch.parallelStream().map(function).toList());
      progress.reached(outputs.size());
    }
    return outputs;
  }
}
