package dev.septum.kit;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kvm.Capability;
import dev.septum.kvm.KvmX86Ops;
import java.io.IOException;
import java.lang.reflect.Method;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;

/** docs/spec.md has the rules of the kit, in their order, and forgets no op and no capability. */
class SpecDocsTest {

  private static final Pattern RULE =
      Pattern.compile("^\\*\\*([A-Z]+\\.\\d+)\\*\\*", Pattern.MULTILINE);

  private static final Pattern CITED =
      Pattern.compile("\\b(?:CALL|CAP|FAULT|CACHE|TABLE|SPLIT|FAIL|RACE|END|KVM)\\.\\d+");

  private static String spec() throws IOException {
    return Files.readString(Path.of("../docs/spec.md"));
  }

  private static List<String> groups(Pattern pattern, String text, int group) {
    return pattern.matcher(text).results().map((MatchResult m) -> m.group(group)).toList();
  }

  @Test
  void theSpec_hasTheRulesOfTheKit() throws IOException {
    assertThat(groups(RULE, spec(), 1)).containsExactlyElementsOf(KitRun.rules());
  }

  @Test
  void everyOp_andEveryCapability_isInTheSpec() throws IOException {
    assertThat(spec())
        .contains(
            Arrays.stream(KvmX86Ops.class.getDeclaredMethods())
                .filter(method -> !method.isSynthetic())
                .map(Method::getName)
                .filter(name -> !name.equals("name"))
                .map(name -> "`" + name + "`")
                .toList());
    assertThat(spec())
        .contains(Arrays.stream(Capability.values()).map(c -> "`" + c + "`").toList());
  }

  @Test
  void whatCitesARule_citesOneThatExists() throws IOException {
    String ops =
        Files.readString(Path.of("../kvm-ops/src/main/java/dev/septum/kvm/KvmX86Ops.java"));
    assertThat(groups(CITED, ops, 0)).isNotEmpty().isSubsetOf(KitRun.rules());
    assertThat(groups(CITED, spec(), 0)).isSubsetOf(KitRun.rules());
  }
}
