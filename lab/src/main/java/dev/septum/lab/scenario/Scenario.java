package dev.septum.lab.scenario;

import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.annotation.JsonPropertyDescription;
import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** What a scenario file says. */
public record Scenario(
    @JsonProperty(required = true) @JsonPropertyDescription("What the scenario shows, in one line.")
        String scenario,
    @JsonPropertyDescription("More about it: where it comes from, what to look at.")
        @Nullable String about,
    @JsonPropertyDescription(
            "The backends that the file is written for, of those that septum backends lists; the"
                + " first one is run unless --backend says otherwise. Default: tdx.")
        List<String> backends,
    @JsonPropertyDescription("The machine. Default: 4G of memory, a module with Dynamic PAMT.")
        HostSetup host,
    @JsonPropertyDescription("guest_memfds by name: the pages behind private memory.")
        Map<String, FileSetup> files,
    @JsonProperty(required = true) @JsonPropertyDescription("VMs by name.")
        Map<String, VmSetup> vms,
    @JsonProperty(required = true)
        @JsonPropertyDescription("What happens, one phase after the other.")
        List<Phase> phases) {

  /** Fills in what the file leaves out. */
  public Scenario {
    backends = backends == null ? ImmutableList.of("tdx") : ImmutableList.copyOf(backends);
    host = host == null ? HostSetup.DEFAULT : host;
    files = files == null ? ImmutableMap.of() : ImmutableMap.copyOf(files);
    vms = ImmutableMap.copyOf(vms);
    phases = ImmutableList.copyOf(phases);
  }
}
