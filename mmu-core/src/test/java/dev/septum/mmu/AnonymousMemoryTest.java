package dev.septum.mmu;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.Kernel;
import dev.septum.kernel.KernelThread;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.PageOwner;
import dev.septum.kernel.Placement;
import dev.septum.kvm.PageLevel;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class AnonymousMemoryTest {

  private final Kernel kernel = Kernel.host();
  private final PageAllocator pages = new PageAllocator(kernel, 4L << 20, Placement.SEQUENTIAL, 0);
  private final AnonymousMemory memory = new AnonymousMemory(pages);

  @AfterEach
  void everyPageComesBack() {
    memory.discardAll();
    assertThat(memory.populated()).isZero();
    assertThat(pages.census()).containsEntry(PageOwner.FREE, pages.totalPages());
  }

  @Test
  void faultIn_samePage_findsTheSameFrame() {
    long first = memory.faultIn(0x1000, false);

    assertThat(memory.faultIn(0x1fff, true)).isEqualTo(first);
    assertThat(memory.faultIn(0x2000, true)).isNotEqualTo(first);
    assertThat(memory.populated()).isEqualTo(2);
    assertThat(pages.ownerOf(first)).isEqualTo(PageOwner.USER_MEMORY);
    assertThat(memory.isWritable(0x1000)).isTrue();
    assertThat(memory.mappingLevel(0x1000)).isEqualTo(PageLevel.LEVEL_4K);
  }

  @Test
  void faultIn_noMemory_isNoPage() {
    pages.faults().failNext(PageOwner.USER_MEMORY.tag(), 1);

    assertThat(memory.faultIn(0x1000, true)).isEqualTo(PageAllocator.NO_PAGE);
    assertThat(memory.populated()).isZero();
  }

  @Test
  void discard_givesBackTheRangeOnly() {
    for (long hva = 0; hva < 0x4000; hva += 0x1000) {
      memory.faultIn(hva, true);
    }

    memory.discard(0x1000, 0x2000);

    assertThat(memory.populated()).isEqualTo(2);
    assertThat(pages.census()).containsEntry(PageOwner.USER_MEMORY, 2L);
  }

  @Test
  void faultIn_fromManyThreads_populatesEachPageOnce() {
    List<KernelThread> threads = new ArrayList<>();
    for (int i = 0; i < 4; i++) {
      threads.add(
          kernel.spawn(
              "toucher " + i,
              () -> {
                for (long hva = 0; hva < 200 << 12; hva += 0x1000) {
                  memory.faultIn(hva, true);
                }
              }));
    }
    threads.forEach(KernelThread::join);

    assertThat(memory.populated()).isEqualTo(200);
    assertThat(pages.census()).containsEntry(PageOwner.USER_MEMORY, 200L);
  }
}
