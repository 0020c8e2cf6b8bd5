package dev.septum.lab.conform;

import com.google.common.collect.ImmutableList;
import java.util.OptionalInt;

/**
 * The first thing that the two sides do not have in common.
 *
 * @param op the operation's number
 * @param what which event, statistic or line it is
 * @param recorded what the kernel did
 * @param emulated what our MMU did
 * @param traceLine where the kernel's event is in its {@code trace.txt}
 * @param context what came just before, on both sides
 */
public record Difference(
    int op,
    String opName,
    String what,
    String recorded,
    String emulated,
    OptionalInt traceLine,
    ImmutableList<String> context) {}
