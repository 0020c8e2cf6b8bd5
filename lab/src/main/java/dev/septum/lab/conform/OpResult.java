package dev.septum.lab.conform;

import dev.septum.kvm.Errno;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.OptionalLong;

/** What an operation returned to user space; see {@link OpOutcome} for the parts. */
record OpResult(
    int rc,
    int errno,
    Optional<List<long[]>> dirtyRanges,
    Optional<List<long[]>> entries,
    OptionalInt mmioExits,
    OptionalLong lastMmioGpa) {

  /** As a system call returns: 0, or -1 and errno. */
  static OpResult of(Errno error) {
    return of(error.isError() ? -1 : 0, -error.code());
  }

  /** As the C library makes it of a number that the kernel returned: a negative one is an errno. */
  static OpResult ofReturned(int value) {
    return value < 0 ? of(-1, -value) : of(value, 0);
  }

  /** What a system call returned. */
  static OpResult of(int rc, int errno) {
    return new OpResult(
        rc, errno, Optional.empty(), Optional.empty(), OptionalInt.empty(), OptionalLong.empty());
  }

  OpResult withDirtyRanges(List<long[]> ranges) {
    return new OpResult(rc, errno, Optional.of(ranges), entries, mmioExits, lastMmioGpa);
  }

  OpResult withEntries(List<long[]> harvested) {
    return new OpResult(rc, errno, dirtyRanges, Optional.of(harvested), mmioExits, lastMmioGpa);
  }

  OpResult withMmio(int exits, OptionalLong lastGpa) {
    return new OpResult(rc, errno, dirtyRanges, entries, OptionalInt.of(exits), lastGpa);
  }
}
