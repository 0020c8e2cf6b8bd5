package dev.septum.lab.scenario;

import java.util.Set;
import org.jspecify.annotations.Nullable;

/** A vCPU as files name it: {@code td/0}, or {@code 0} where there is one VM. */
public record VcpuName(String vm, int number) {

  /** Reads a name; null if it is none. */
  public static @Nullable VcpuName parse(String text, Set<String> vms) {
    int slash = text.indexOf('/');
    String vm =
        slash >= 0 ? text.substring(0, slash) : vms.size() == 1 ? vms.iterator().next() : "";
    String number = text.substring(slash + 1);
    return vms.contains(vm) && number.matches("\\d{1,4}")
        ? new VcpuName(vm, Integer.parseInt(number))
        : null;
  }
}
