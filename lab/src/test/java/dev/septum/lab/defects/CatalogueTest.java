package dev.septum.lab.defects;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;

class CatalogueTest {

  private static List<String> idsOf(List<Defect> defects) {
    return defects.stream().map(Defect::id).toList();
  }

  @Test
  void all_isEveryDefectOfTheSeriesAndItsReview() {
    assertThat(idsOf(Catalogue.ALL))
        .containsExactly(
            "D1", "D2", "D3", "D4", "D5", "D6", "D7", "D8", "D9", "D10", "D11", "v4-get", "v4-put",
            "a", "b", "c", "d", "e", "f", "g", "h");
  }

  @Test
  void eachDefect_saysWhatComesOfIt_andIsShownOrHasAReason() {
    assertThat(Catalogue.ALL)
        .allSatisfy(
            defect -> {
              assertThat(defect.title()).isNotBlank().doesNotEndWith(".");
              assertThat(defect.source()).isNotBlank().doesNotEndWith(".");
              assertThat(defect.consequence()).endsWith(".");
              assertThat(defect.whyNotShown().isEmpty()).isEqualTo(defect.isShown());
            });
  }

  @Test
  void all_standsForTheDefectsThatCanBeShown() {
    assertThat(idsOf(Catalogue.shown(List.of("ALL"))))
        .containsExactly(
            "D1", "D2", "D3", "D4", "D5", "D6", "D7", "D8", "D9", "D10", "v4-get", "v4-put", "f");
  }

  @Test
  void ids_areFoundInEitherCase_onceEach_inTheOrderAskedFor() {
    assertThat(idsOf(Catalogue.shown(List.of("F", "d2", "D2", "V4-Get"))))
        .containsExactly("f", "D2", "v4-get");
  }

  @Test
  void anUnknownId_isRefusedWithTheIdsThatExist() {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> Catalogue.shown(List.of("D1", "D12")))
        .withMessageStartingWith("no defect \"D12\"; there is D1, D2, ")
        .withMessageEndingWith(", f, g, h");
  }

  @Test
  void aDefectThatIsOnlyListed_isRefusedWithTheReason() {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> Catalogue.shown(List.of("d11")))
        .withMessage(
            "D11 cannot be shown: the memory behind the kernel's own arrays is not modelled");
  }

  @Test
  void docsDefectsMd_isWhatTheCatalogueSays() throws IOException {
    assertThat(Files.readString(Path.of("../docs/defects.md")))
        .as("docs/defects.md; `septum defects --markdown` writes it")
        .isEqualTo(DefectText.markdown(Catalogue.ALL));
  }
}
