package dev.septum.kernel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.BrokenBarrierException;
import java.util.concurrent.CyclicBarrier;
import java.util.stream.LongStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

class EntryTableTest {

  private static final long BASE = 0x8000_0000_0020_0007L;
  private static final long STRIDE = 0x1000;

  private final Kernel kernel = Kernel.host();

  /** Each operation that writes: what it leaves and returns when an entry was {@code before}. */
  private enum Op {
    SET {
      @Override
      long apply(EntryTable table, int index, long before) {
        table.set(index, 5);
        return 5;
      }
    },
    GET_AND_SET {
      @Override
      long apply(EntryTable table, int index, long before) {
        assertThat(table.getAndSet(index, 6)).isEqualTo(before);
        return 6;
      }
    },
    COMPARE_AND_EXCHANGE {
      @Override
      long apply(EntryTable table, int index, long before) {
        assertThat(table.compareAndExchange(index, before, 7)).isEqualTo(before);
        return 7;
      }
    },
    COMPARE_AND_EXCHANGE_OF_ANOTHER_VALUE {
      @Override
      long apply(EntryTable table, int index, long before) {
        assertThat(table.compareAndExchange(index, before + 1, 8)).isEqualTo(before);
        return before;
      }
    },
    GET_AND_BITWISE_AND {
      @Override
      long apply(EntryTable table, int index, long before) {
        assertThat(table.getAndBitwiseAnd(index, ~3L)).isEqualTo(before);
        return before & ~3L;
      }
    },
    ADD_AND_GET {
      @Override
      long apply(EntryTable table, int index, long before) {
        assertThat(table.addAndGet(index, -9)).isEqualTo(before - 9);
        return before - 9;
      }
    };

    abstract long apply(EntryTable table, int index, long before);
  }

  @ParameterizedTest
  @CsvSource({"0, 0", "7, 0", "0, 512", "-9223372036852678649, 4096", "5, -3"})
  void uniformTable_readsAsTheProgression(long base, long stride) {
    EntryTable table = kernel.entryTable(base, stride);

    assertThat(entries(table))
        .isEqualTo(LongStream.range(0, 512).map(i -> base + i * stride).toArray());
    assertThat(table.isUniform()).isTrue();
  }

  @ParameterizedTest
  @EnumSource
  void firstWrite_changesThatEntryAndNoOther(Op op) {
    EntryTable table = kernel.entryTable(BASE, STRIDE);
    long[] expected = entries(table);

    expected[300] = op.apply(table, 300, expected[300]);

    assertThat(entries(table)).isEqualTo(expected);
    assertThat(table.isUniform()).isFalse();
  }

  @ParameterizedTest
  @EnumSource
  void laterWrite_changesThatEntryAndNoOther(Op op) {
    EntryTable table = kernel.entryTable(BASE, STRIDE);
    table.set(0, 0x4444);
    long[] expected = entries(table);

    expected[0] = op.apply(table, 0, expected[0]);
    expected[511] = op.apply(table, 511, expected[511]);

    assertThat(entries(table)).isEqualTo(expected);
  }

  @ParameterizedTest
  @ValueSource(ints = {-1, 512, Integer.MIN_VALUE, Integer.MAX_VALUE})
  void get_noSuchEntry_failsWhetherUniformOrNot(int index) {
    EntryTable table = kernel.entryTable(0, 0);
    assertThatExceptionOfType(IndexOutOfBoundsException.class).isThrownBy(() -> table.get(index));
    table.set(0, 1);
    assertThatExceptionOfType(IndexOutOfBoundsException.class).isThrownBy(() -> table.get(index));
  }

  @Test
  void twoFirstWriters_bothWritesStay() {
    for (int round = 0; round < 200; round++) {
      EntryTable table = kernel.entryTable(BASE, STRIDE);
      long[] expected = entries(table);
      CyclicBarrier start = new CyclicBarrier(2);
      List<KernelThread> writers = new ArrayList<>();
      for (int index : List.of(3, 4)) {
        writers.add(
            kernel.spawn(
                "writer " + index,
                () -> {
                  await(start);
                  table.set(index, -index);
                }));
        expected[index] = -index;
      }
      writers.forEach(KernelThread::join);

      assertThat(entries(table)).as("round %d", round).isEqualTo(expected);
    }
  }

  @Test
  void readersDuringTheFirstWrite_neverSeeAnythingElse() {
    for (int round = 0; round < 50; round++) {
      EntryTable table = kernel.entryTable(BASE, STRIDE);
      CyclicBarrier start = new CyclicBarrier(2);
      KernelThread reader =
          kernel.spawn(
              "reader",
              () -> {
                await(start);
                for (int i = 511; i > 0; i--) {
                  assertThat(table.get(i)).isEqualTo(BASE + i * STRIDE);
                }
                assertThat(table.get(0)).isIn(BASE, 0L);
              });
      await(start);
      table.set(0, 0);
      reader.join();
    }
  }

  @Test
  void addAndGet_fromTwoThreads_losesNothing() {
    EntryTable table = kernel.entryTable(0, 0);
    Runnable adds =
        () -> {
          for (int i = 0; i < 5120; i++) {
            table.addAndGet(i % 512, 1);
          }
        };

    List.of(kernel.spawn("a", adds), kernel.spawn("b", adds)).forEach(KernelThread::join);

    assertThat(entries(table)).containsOnly(20L);
  }

  private static long[] entries(EntryTable table) {
    return LongStream.range(0, EntryTable.ENTRIES).map(i -> table.get((int) i)).toArray();
  }

  private static void await(CyclicBarrier barrier) {
    try {
      barrier.await();
    } catch (InterruptedException | BrokenBarrierException e) {
      throw new AssertionError(e);
    }
  }
}
