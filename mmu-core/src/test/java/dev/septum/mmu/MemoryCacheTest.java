package dev.septum.mmu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;

import dev.septum.kvm.Errno;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class MemoryCacheTest {

  private final List<Integer> freed = new ArrayList<>();
  private int next;
  private int available = Integer.MAX_VALUE;
  private final MemoryCache<Integer> cache =
      new MemoryCache<>(() -> next < available ? next++ : null, freed::add);

  @Test
  void topup_fillsToCapacity_onlyWhenTooFewAreLeft() {
    assertThat(cache.topup(5)).isEqualTo(Errno.OK);
    assertThat(cache.size()).isEqualTo(40);

    for (int i = 0; i < 35; i++) {
      cache.alloc();
    }
    assertThat(cache.topup(5)).isEqualTo(Errno.OK);
    assertThat(cache.size()).isEqualTo(5);

    cache.alloc();
    assertThat(cache.topup(5)).isEqualTo(Errno.OK);
    assertThat(cache.size()).isEqualTo(40);
  }

  @Test
  void alloc_takesWhatWasPutInLast() {
    cache.topup(1);

    assertThat(cache.alloc()).isEqualTo(39);
    assertThat(cache.alloc()).isEqualTo(38);
  }

  @Test
  void topup_outOfMemoryBelowTheMinimum_keepsWhatItGot() {
    available = 4;

    assertThat(cache.topup(5)).isEqualTo(Errno.ENOMEM);

    assertThat(cache.size()).isEqualTo(4);
  }

  @Test
  void topup_outOfMemoryAboveTheMinimum_isGoodEnough() {
    available = 5;

    assertThat(cache.topup(5)).isEqualTo(Errno.OK);

    assertThat(cache.size()).isEqualTo(5);
  }

  @Test
  void alloc_empty_isTheCallersMistake() {
    assertThatIllegalStateException()
        .isThrownBy(cache::alloc)
        .withMessage("memory cache is empty: it was not topped up");
  }

  @Test
  void freeAll_givesEverythingBack() {
    cache.topup(1);
    cache.alloc();

    cache.freeAll();

    assertThat(freed).hasSize(39).doesNotContain(39);
    assertThat(cache.size()).isZero();
  }
}
