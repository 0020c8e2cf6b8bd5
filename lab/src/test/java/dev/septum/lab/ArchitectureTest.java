package dev.septum.lab;

import static com.tngtech.archunit.base.DescribedPredicate.not;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.belongToAnyOf;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAnyPackage;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.classes;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.methods;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static org.assertj.core.api.Assertions.assertThat;

import com.google.common.collect.ImmutableList;
import com.tngtech.archunit.core.domain.JavaClass;
import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.domain.JavaModifier;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.lang.ArchRule;
import dev.septum.tdx.KvmTdx;
import dev.septum.tdx.TdxCommands;
import dev.septum.tdx.TdxHost;
import dev.septum.tdx.VcpuTdx;
import dev.septum.tdx.module.TdxModule;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Who may know whom, and who may lock; each rule is shown to fire on a class that breaks it. */
final class ArchitectureTest {

  /** What everybody may use. */
  private static final List<String> LIBRARIES =
      ImmutableList.of("java..", "com.google..", "org.jspecify..", "org.slf4j..");

  private static final Path ROOT = Path.of("..");

  /** Block comments, line comments and string literals, in which a keyword is just a word. */
  private static final Pattern NOT_CODE =
      Pattern.compile("/\\*.*?\\*/|//[^\\n]*|\"(\\\\.|[^\"\\\\\\n])*\"", Pattern.DOTALL);

  private static final Pattern SYNCHRONIZED = Pattern.compile("\\bsynchronized\\b");

  private static final JavaClasses MAIN =
      new ClassFileImporter()
          .withImportOption(location -> !location.contains("/test-classes/"))
          .withImportOption(location -> !location.contains("/dev/septum/it/"))
          .withImportOption(location -> !location.contains("/bad/"))
          .importPackages("dev.septum");

  private record Rule(String broken, ArchRule rule) {
    @Override
    public String toString() {
      return rule.getDescription();
    }
  }

  private static ArchRule only(String whose, String... allowed) {
    List<String> packages = new ArrayList<>(LIBRARIES);
    packages.addAll(List.of(allowed));
    return classes()
        .that()
        .resideInAPackage(whose)
        .should()
        .onlyDependOnClassesThat()
        .resideInAnyPackage(packages.toArray(String[]::new));
  }

  /** Each rule beside a class of the test sources that breaks it. */
  static List<Rule> rules() {
    return ImmutableList.of(
        new Rule(
            "dev.septum.kvm.bad.KnowsTheMmu",
            only("dev.septum.kvm..", "dev.septum.kvm..", "dev.septum.kernel..")),
        new Rule(
            "dev.septum.mmu.bad.SeesABackend",
            only(
                "dev.septum.mmu..", "dev.septum.mmu..", "dev.septum.kvm..", "dev.septum.kernel..")),
        new Rule(
            "dev.septum.dpamt.bad.KnowsTheMmu",
            only(
                "dev.septum.dpamt..",
                "dev.septum.dpamt..",
                "dev.septum.kvm..",
                "dev.septum.kernel..")),
        new Rule(
            "dev.septum.tdx.module.bad.KnowsKvm",
            only("dev.septum.tdx.module..", "dev.septum.tdx.module..", "dev.septum.kernel..")),
        new Rule(
            "dev.septum.mmu.bad.SeesABackend",
            noClasses()
                .that()
                .resideOutsideOfPackage("dev.septum.kernel..")
                .should()
                .dependOnClassesThat()
                .resideInAnyPackage(
                    "java.util.concurrent.locks..", "java.util.concurrent.atomic..")),
        new Rule(
            "dev.septum.mmu.bad.SeesABackend",
            noClasses()
                .that()
                .resideOutsideOfPackage("dev.septum.kernel..")
                .should()
                .dependOnClassesThat()
                .areAssignableTo(Thread.class)),
        new Rule(
            "dev.septum.mmu.bad.SeesABackend",
            noClasses()
                .that()
                .resideOutsideOfPackage("dev.septum.kernel..")
                .should()
                .callMethod(Object.class, "wait")),
        new Rule(
            "dev.septum.mmu.bad.SeesABackend",
            methods()
                .that()
                .areDeclaredInClassesThat()
                .resideOutsideOfPackage("dev.septum.kernel..")
                .should()
                .notHaveModifier(JavaModifier.SYNCHRONIZED)),
        new Rule(
            "dev.septum.tdx.bad.PeeksIntoTheModule",
            noClasses()
                .that()
                .resideInAPackage("dev.septum.tdx..")
                .and(not(resideInAnyPackage("dev.septum.tdx.module..", "dev.septum.tdx.check..")))
                .and(not(belongToAnyOf(TdxHost.class, TdxCommands.class, VcpuTdx.class)))
                .and()
                .doNotHaveSimpleName("Seamcalls")
                .should()
                .dependOnClassesThat()
                .belongToAnyOf(TdxModule.class)),
        new Rule(
            "dev.septum.tdx.bad.PeeksIntoTheModule",
            noClasses()
                .that()
                .resideInAPackage("dev.septum.tdx..")
                .and(not(resideInAnyPackage("dev.septum.tdx.module..", "dev.septum.tdx.check..")))
                .should()
                .callMethod(TdxModule.class, "view")
                .orShould()
                .callMethod(TdxModule.class, "injector")));
  }

  @ParameterizedTest
  @MethodSource("rules")
  void aRule_holdsInTheHouse(Rule rule) {
    rule.rule().check(MAIN);
  }

  @ParameterizedTest
  @MethodSource("rules")
  void aRule_firesOnAClassThatBreaksIt(Rule rule) throws ClassNotFoundException {
    JavaClasses broken = new ClassFileImporter().importClasses(Class.forName(rule.broken()));
    assertThat(rule.rule().evaluate(broken).hasViolation()).isTrue();
  }

  /** KVM's side may use guests and VMMs in tests only; nobody at all may use the lab. */
  @Test
  void theArrowsBetweenTheRest_hold() {
    noClasses()
        .that()
        .resideInAPackage("dev.septum.tdx")
        .should()
        .dependOnClassesThat()
        .resideInAnyPackage(
            "dev.septum.tdx.guest..", "dev.septum.tdx.vmm..", "dev.septum.tdx.check..")
        .check(MAIN);
    noClasses()
        .that()
        .resideOutsideOfPackage("dev.septum.lab..")
        .should()
        .dependOnClassesThat()
        .resideInAPackage("dev.septum.lab..")
        .check(MAIN);
    only("dev.septum.kernel..", "dev.septum.kernel..").check(MAIN);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "dev.septum.kernel",
        "dev.septum.kernel.schedule",
        "dev.septum.kvm",
        "dev.septum.mmu",
        "dev.septum.dpamt",
        "dev.septum.tdx",
        "dev.septum.tdx.module",
        "dev.septum.tdx.guest",
        "dev.septum.tdx.vmm",
        "dev.septum.tdx.check",
        "dev.septum.lab",
        "dev.septum.lab.boot",
        "dev.septum.lab.bootlog",
        "dev.septum.lab.conform",
        "dev.septum.lab.defects",
        "dev.septum.lab.pamt",
        "dev.septum.lab.report",
        "dev.septum.lab.seamcall"
      })
  void theRules_sawClassesOfEachPackage(String name) {
    assertThat(MAIN.stream().map(JavaClass::getPackageName).filter(name::equals)).isNotEmpty();
  }

  @Test
  void theRules_sawNoTests() {
    assertThat(MAIN.contain(KvmTdx.class)).isTrue();
    assertThat(MAIN.contain(ArchitectureTest.class)).isFalse();
    assertThat(MAIN.stream().map(JavaClass::getPackageName)).noneMatch(p -> p.endsWith(".bad"));
  }

  @Test
  void synchronized_isUsedInTheKernelPackageOnly() throws IOException {
    Set<Path> users = usersOfSynchronized(mainSources());
    assertThat(users).isNotEmpty().allMatch(file -> file.toString().contains("septum/kernel/"));
  }

  @Test
  void theScanForSynchronized_findsMethodsAndBlocks_andNoComments() throws IOException {
    Path bad = Path.of("src/test/java/dev/septum/mmu/bad/SeesABackend.java");
    assertThat(usersOfSynchronized(List.of(bad))).containsExactly(bad);
    assertThat(usesSynchronized("/* synchronized */ int a; // synchronized\n")).isFalse();
    assertThat(usesSynchronized("String s = \"synchronized\";")).isFalse();
    assertThat(usesSynchronized("void f() { synchronized (this) {} }")).isTrue();
    assertThat(usesSynchronized("synchronized void f() {}")).isTrue();
  }

  @Test
  void everyPackage_saysWhatItIs() throws IOException {
    List<Path> sources = mainSources();
    assertThat(sources).hasSizeGreaterThan(100);
    Set<Path> packages = sources.stream().map(Path::getParent).collect(Collectors.toSet());
    assertThat(packages)
        .hasSizeGreaterThan(6)
        .allMatch(directory -> Files.exists(directory.resolve("package-info.java")));
  }

  private static List<Path> mainSources() throws IOException {
    List<Path> sources = new ArrayList<>();
    try (Stream<Path> modules = Files.list(ROOT)) {
      for (Path module : modules.toList()) {
        Path main = module.resolve("src/main/java");
        if (Files.isDirectory(main)) {
          try (Stream<Path> files = Files.walk(main)) {
            files.filter(file -> file.toString().endsWith(".java")).forEach(sources::add);
          }
        }
      }
    }
    return sources;
  }

  private static Set<Path> usersOfSynchronized(List<Path> sources) throws IOException {
    Set<Path> users = new HashSet<>();
    for (Path source : sources) {
      if (usesSynchronized(Files.readString(source))) {
        users.add(source);
      }
    }
    return users;
  }

  private static boolean usesSynchronized(String source) {
    return SYNCHRONIZED.matcher(NOT_CODE.matcher(source).replaceAll("")).find();
  }
}
