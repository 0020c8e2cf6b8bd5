package dev.septum.mmu;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.Kernel;
import dev.septum.kernel.KernelThread;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class DirtyBitmapTest {

  private final Kernel kernel = Kernel.host();

  @ParameterizedTest
  @CsvSource({
    "1, 1, 1",
    "63, 1, 7fffffffffffffff",
    "64, 1, ffffffffffffffff",
    "65, 2, 1",
    "130, 3, 3"
  })
  void allSet_hasOneBitForEachPageAndNoMore(long pages, int words, String last) {
    DirtyBitmap bitmap = new DirtyBitmap(kernel, pages, true);

    assertThat(bitmap.words()).isEqualTo(words);
    assertThat(bitmap.word(words - 1)).isEqualTo(Long.parseUnsignedLong(last, 16));
    assertThat(IntStream.range(0, words - 1).mapToLong(bitmap::word)).allMatch(w -> w == -1);
  }

  @Test
  void beyondOneTableOfWords_eachWordIsItsOwn() {
    DirtyBitmap bitmap = new DirtyBitmap(kernel, 1025 * 64L, false);

    bitmap.mark(512 * 64L + 3);
    bitmap.mark(1024 * 64L + 63);

    assertThat(bitmap.words()).isEqualTo(1025);
    assertThat(bitmap.word(512)).isEqualTo(8);
    assertThat(bitmap.word(1024)).isEqualTo(Long.MIN_VALUE);
    assertThat(IntStream.range(0, 1025).filter(i -> bitmap.word(i) != 0))
        .containsExactly(512, 1024);
  }

  @Test
  void mark_again_changesNothing() {
    DirtyBitmap bitmap = new DirtyBitmap(kernel, 64, false);

    bitmap.mark(5);
    bitmap.mark(5);
    bitmap.mark(6);

    assertThat(bitmap.word(0)).isEqualTo(0x60);
  }

  @Test
  void take_leavesTheWordClear() {
    DirtyBitmap bitmap = new DirtyBitmap(kernel, 128, true);

    assertThat(bitmap.take(1)).isEqualTo(-1);

    assertThat(bitmap.word(1)).isZero();
    assertThat(bitmap.word(0)).isEqualTo(-1);
  }

  @Test
  void clear_returnsJustTheBitsThatWereSet() {
    DirtyBitmap bitmap = new DirtyBitmap(kernel, 64, false);
    bitmap.mark(0);
    bitmap.mark(4);

    assertThat(bitmap.clear(0, 0b10011)).isEqualTo(0b10001);
    assertThat(bitmap.clear(0, 0b10011)).isZero();

    assertThat(bitmap.word(0)).isZero();
  }

  @Test
  void mark_whileAnotherPageOfTheWordIsMarked_losesNeither() {
    TestKernel hooks = new TestKernel();
    DirtyBitmap bitmap = new DirtyBitmap(hooks, 64, false);
    hooks.onExchange(() -> bitmap.mark(1));

    bitmap.mark(0);

    assertThat(bitmap.word(0)).isEqualTo(3);
  }

  @Test
  void manyThreads_markEveryPage() {
    DirtyBitmap bitmap = new DirtyBitmap(kernel, 640, false);
    List<KernelThread> threads = new ArrayList<>();
    for (int first = 0; first < 4; first++) {
      int start = first;
      threads.add(
          kernel.spawn(
              "marker " + first,
              () -> {
                for (int page = start; page < 640; page += 4) {
                  bitmap.mark(page);
                }
              }));
    }
    threads.forEach(KernelThread::join);

    assertThat(IntStream.range(0, 10).mapToLong(bitmap::word)).containsOnly(-1L);
  }
}
