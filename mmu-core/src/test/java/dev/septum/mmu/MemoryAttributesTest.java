package dev.septum.mmu;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.Kernel;
import dev.septum.kvm.GfnRange;
import dev.septum.kvm.PageLevel;
import java.util.BitSet;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class MemoryAttributesTest {

  private static final int CHUNK = 512 * 64;

  private final MemoryAttributes attributes = new MemoryAttributes(Kernel.host());

  @Test
  void everyGfn_startsShared() {
    assertThat(attributes.isPrivate(0)).isFalse();
    assertThat(attributes.isPrivate(1L << 39)).isFalse();
    assertThat(attributes.isUniform(new GfnRange(0, 1 << 20), false)).isTrue();
    assertThat(attributes.isUniform(new GfnRange(0, 1), true)).isFalse();
  }

  @Test
  void set_acrossWordsAndChunks_stopsAtTheEdges() {
    attributes.set(new GfnRange(CHUNK - 65, CHUNK + 1), true);

    assertThat(attributes.isPrivate(CHUNK - 66)).isFalse();
    assertThat(attributes.isPrivate(CHUNK - 65)).isTrue();
    assertThat(attributes.isPrivate(CHUNK)).isTrue();
    assertThat(attributes.isPrivate(CHUNK + 1)).isFalse();
    assertThat(attributes.isUniform(new GfnRange(CHUNK - 65, CHUNK + 1), true)).isTrue();
    assertThat(attributes.isUniform(new GfnRange(CHUNK - 66, CHUNK + 1), true)).isFalse();
    assertThat(attributes.isUniform(new GfnRange(CHUNK - 65, CHUNK + 2), true)).isFalse();
  }

  @Test
  void set_wholeChunks_canBeBrokenUpLater() {
    attributes.set(new GfnRange(0, 3 * CHUNK), true);
    attributes.set(new GfnRange(CHUNK + 7, CHUNK + 8), false);

    assertThat(attributes.isUniform(new GfnRange(0, CHUNK + 7), true)).isTrue();
    assertThat(attributes.isPrivate(CHUNK + 7)).isFalse();
    assertThat(attributes.isUniform(new GfnRange(CHUNK + 8, 3 * CHUNK), true)).isTrue();

    attributes.set(new GfnRange(CHUNK, 2 * CHUNK), false);
    assertThat(attributes.isUniform(new GfnRange(CHUNK, 2 * CHUNK), false)).isTrue();
  }

  @Test
  void isUniformAt_comparesWithTheFirstFrame() {
    attributes.set(GfnRange.ofPages(0x200, 0x200), true);
    assertThat(attributes.isUniformAt(0x200, PageLevel.LEVEL_2M)).isTrue();
    assertThat(attributes.isUniformAt(0, PageLevel.LEVEL_2M)).isTrue();
    assertThat(attributes.isUniformAt(0, PageLevel.LEVEL_1G)).isFalse();

    attributes.set(GfnRange.ofPages(0x200, 1), false);
    assertThat(attributes.isUniformAt(0x200, PageLevel.LEVEL_2M)).isFalse();
  }

  @ParameterizedTest
  @ValueSource(longs = {1, 2, 3})
  void anySequence_agreesWithABitSet(long seed) {
    Random random = new Random(seed);
    int gfns = 4 * CHUNK;
    BitSet model = new BitSet(gfns);
    for (int step = 0; step < 300; step++) {
      int start = edge(random, gfns);
      int end = Math.min(gfns, start + 1 + (random.nextBoolean() ? random.nextInt(200) : CHUNK));
      boolean isPrivate = random.nextBoolean();

      attributes.set(new GfnRange(start, end), isPrivate);
      model.set(start, end, isPrivate);

      int from = edge(random, gfns);
      int to = Math.min(gfns, from + 1 + random.nextInt(300));
      assertThat(attributes.isUniform(new GfnRange(from, to), true))
          .isEqualTo(model.nextClearBit(from) >= to);
      int firstSet = model.nextSetBit(from);
      assertThat(attributes.isUniform(new GfnRange(from, to), false))
          .isEqualTo(firstSet < 0 || firstSet >= to);
    }
    for (int gfn = 0; gfn < gfns; gfn++) {
      if (attributes.isPrivate(gfn) != model.get(gfn)) {
        throw new AssertionError("seed %d: gfn 0x%x differs".formatted(seed, gfn));
      }
    }
  }

  /** A gfn, often near the edge of a word or a chunk. */
  private static int edge(Random random, int gfns) {
    int any = random.nextInt(gfns);
    return switch (random.nextInt(3)) {
      case 0 -> any / 64 * 64;
      case 1 -> any / CHUNK * CHUNK;
      default -> any;
    };
  }
}
