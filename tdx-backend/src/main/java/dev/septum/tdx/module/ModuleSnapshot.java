package dev.septum.tdx.module;

import com.google.common.collect.ImmutableSet;
import com.google.common.collect.Sets;
import com.google.common.primitives.ImmutableLongArray;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeMap;

/**
 * Everything persistent in a module at rest, area by area, without what a call that failed may
 * leave behind: locks and HOST_PRIORITY flags.
 */
final class ModuleSnapshot {

  private final Map<String, ImmutableLongArray> areas = new TreeMap<>();

  private ModuleSnapshot() {}

  static ModuleSnapshot of(ModuleState state) {
    ModuleSnapshot snapshot = new ModuleSnapshot();
    snapshot.addModule(state);
    state.tds.forEach((tdr, td) -> snapshot.addTd(tdr, td));
    state.vcpus.forEach((tdvpr, vcpu) -> snapshot.addVcpu(tdvpr, vcpu));
    return snapshot;
  }

  /** The areas that {@code later} has otherwise. */
  Set<String> differences(ModuleSnapshot later) {
    return Sets.union(areas.keySet(), later.areas.keySet()).stream()
        .filter(area -> !Objects.equals(areas.get(area), later.areas.get(area)))
        .collect(ImmutableSet.toImmutableSet());
  }

  private void addModule(ModuleState state) {
    areas.put("the module's state", ImmutableLongArray.of(state.bringUp().state().ordinal()));
    ImmutableLongArray.Builder keys = ImmutableLongArray.builder();
    state.keys().rows().forEach((hkid, row) -> keys.add(hkid).add(row.ordinal()));
    areas.put("the HKIDs", keys.build());
    ImmutableLongArray.Builder contents = ImmutableLongArray.builder();
    state.contents().words().forEach((hpa, word) -> contents.add(hpa).add(word));
    areas.put("page contents", contents.build());
    if (state.isConfigured()) {
      addPamt(state.pamt());
    }
  }

  private void addPamt(Pamt pamt) {
    ImmutableLongArray.Builder entries = ImmutableLongArray.builder();
    pamt.tdmrs().forEach(tdmr -> entries.add(tdmr.initializedTo()));
    PamtScan scan = PamtScan.of(pamt);
    scan.forEachNode(
        (hpa, node) ->
            entries.add(hpa).add(node.pairPage(0)).add(node.pairPage(1)).add(node.pageCount()));
    scan.forEachLeafInUse(
        (hpa, leaf) ->
            entries
                .add(hpa)
                .add(leaf.level())
                .add(leaf.type().code())
                .add(leaf.owner())
                .add(leaf.blockingEpoch()));
    areas.put("the PAMT", entries.build());
  }

  private void addTd(long tdr, Td td) {
    ImmutableLongArray.Builder entries = ImmutableLongArray.builder();
    if (td.isInitialized() && td.lifecycle != Lifecycle.TEARDOWN) {
      td.sept().forEachInUse(slot -> entries.add(slot.gpa()).add(SeptEntry.bare(slot.entry())));
    }
    areas.put(String.format("the S-EPT of TD %x", tdr), entries.build());
    areas.put(
        String.format("TD %x", tdr),
        ImmutableLongArray.builder()
            .add(td.lifecycle.ordinal())
            .add(td.opState.number())
            .add(td.fatal.get())
            .add(td.childCount().get())
            .add(td.vcpus().get())
            .add(td.associatedVcpus().get())
            .add(td.epochs().current())
            .add(td.measurement.digest())
            .add(td.x2apicIds.hashCode())
            .addAll(td.tdcx)
            .build());
  }

  private void addVcpu(long tdvpr, TdVcpu vcpu) {
    areas.put(
        String.format("vCPU %x", tdvpr),
        ImmutableLongArray.of(vcpu.state.number(), vcpu.pages, vcpu.isAssociated() ? 1 : 0));
  }
}
