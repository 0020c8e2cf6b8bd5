package dev.septum.lab.defects;

import com.google.common.collect.ImmutableList;

/**
 * A demonstration on one design.
 *
 * @param splats the reports of the VMs that were bugged
 */
record DesignRun(
    String design,
    ImmutableList<Protocol.Line> lines,
    ImmutableList<String> splats,
    Verdict verdict) {}
