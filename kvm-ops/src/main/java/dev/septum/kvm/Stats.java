package dev.septum.kvm;

import dev.septum.kernel.Kernel;
import dev.septum.kernel.SharedWord;
import java.util.LinkedHashMap;
import java.util.Map;

/** One counter for each constant of {@code E}; safe to count from any thread. */
public final class Stats<E extends Enum<E>> {

  private final E[] keys;
  private final SharedWord[] counters;

  /** Counters that start at 0. */
  public Stats(Kernel kernel, Class<E> type) {
    keys = type.getEnumConstants();
    counters = new SharedWord[keys.length];
    for (int i = 0; i < counters.length; i++) {
      counters[i] = kernel.word(0).named(keys[i].name());
    }
  }

  /** Adds {@code delta}. */
  public void add(E key, long delta) {
    counters[key.ordinal()].add(delta);
  }

  /** Adds one. */
  public void increment(E key) {
    add(key, 1);
  }

  /** The counter's value. */
  public long get(E key) {
    return counters[key.ordinal()].get();
  }

  /** Every counter under its name, in declaration order. */
  public Map<String, Long> toMap() {
    Map<String, Long> map = new LinkedHashMap<>();
    for (E key : keys) {
      map.put(key.toString(), get(key));
    }
    return map;
  }

  @Override
  public String toString() {
    return toMap().toString();
  }
}
