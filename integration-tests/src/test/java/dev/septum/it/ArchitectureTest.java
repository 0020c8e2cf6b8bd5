package dev.septum.it;

import static com.tngtech.archunit.base.DescribedPredicate.describe;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAPackage;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAnyPackage;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.classes;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.methods;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static org.assertj.core.api.Assertions.assertThat;

import com.tngtech.archunit.base.DescribedPredicate;
import com.tngtech.archunit.core.domain.JavaClass;
import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.domain.JavaModifier;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.core.importer.ImportOption;
import com.tngtech.archunit.lang.ArchRule;
import dev.septum.it.bad.Undisciplined;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Who may know whom, and who may synchronise. */
class ArchitectureTest {

  private static final JavaClasses HOUSE =
      new ClassFileImporter()
          .withImportOption(ImportOption.Predefined.DO_NOT_INCLUDE_TESTS)
          .importPackages("dev.septum");

  /** What a class may use beside the packages of its rule. */
  private static final String[] LIBRARIES = {
    "java..", "javax..", "com.google..", "org.jspecify..", "org.slf4j.."
  };

  private static final DescribedPredicate<JavaClass> SYNCHRONISERS =
      describe(
          "Java's own locks, atomics and threads",
          type ->
              resideInAnyPackage("java.util.concurrent.locks", "java.util.concurrent.atomic")
                      .test(type)
                  || type.isEquivalentTo(Thread.class)
                  || type.isEquivalentTo(java.lang.invoke.VarHandle.class));

  private static ArchRule mayUse(String who, String... whom) {
    String[] allowed =
        Stream.of(List.of(who), List.of(whom), List.of(LIBRARIES))
            .flatMap(List::stream)
            .toArray(String[]::new);
    return classes()
        .that()
        .resideInAPackage(who)
        .should()
        .onlyDependOnClassesThat(resideInAnyPackage(allowed));
  }

  private static final ArchRule NO_SYNCHRONISERS =
      noClasses()
          .that()
          .resideOutsideOfPackage("dev.septum.kernel")
          .should()
          .dependOnClassesThat(SYNCHRONISERS);

  private static final ArchRule NO_SYNCHRONIZED_METHODS =
      methods()
          .that()
          .areDeclaredInClassesThat(DescribedPredicate.not(resideInAPackage("dev.septum.kernel")))
          .should()
          .notHaveModifier(JavaModifier.SYNCHRONIZED);

  private static final ArchRule KVM_NEVER_PEEKS =
      noClasses()
          .that()
          .resideInAPackage("dev.septum.tdx")
          .and()
          .doNotHaveSimpleName("TdInvariants")
          .should()
          .dependOnClassesThat()
          .haveNameMatching("dev\\.septum\\.tdx\\.module\\.TdxModuleView.*");

  private static final ArchRule SEAMCALLS_IN_ONE_PLACE =
      noClasses()
          .that()
          .resideInAPackage("dev.septum.tdx")
          .and()
          .doNotHaveSimpleName("Seamcalls")
          .should()
          .dependOnClassesThat()
          .haveNameMatching("dev\\.septum\\.tdx\\.module\\.SeamcallLeaf");

  static Stream<ArchRule> rules() {
    return Stream.of(
        mayUse("dev.septum.kernel.."),
        mayUse("dev.septum.kvm..", "dev.septum.kernel.."),
        mayUse("dev.septum.mmu..", "dev.septum.kernel..", "dev.septum.kvm.."),
        mayUse("dev.septum.dpamt..", "dev.septum.kernel..", "dev.septum.kvm.."),
        mayUse("dev.septum.tdx.module..", "dev.septum.kernel.."),
        mayUse(
            "dev.septum.tdx..",
            "dev.septum.kernel..",
            "dev.septum.kvm..",
            "dev.septum.mmu..",
            "dev.septum.dpamt.."),
        NO_SYNCHRONISERS,
        NO_SYNCHRONIZED_METHODS,
        KVM_NEVER_PEEKS,
        SEAMCALLS_IN_ONE_PLACE);
  }

  @ParameterizedTest
  @MethodSource("rules")
  void house_keepsItsRules(ArchRule rule) {
    rule.check(HOUSE);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "dev.septum.kernel",
        "dev.septum.kvm",
        "dev.septum.mmu",
        "dev.septum.dpamt",
        "dev.septum.tdx",
        "dev.septum.tdx.module",
        "dev.septum.tdx.guest",
        "dev.septum.tdx.vmm",
        "dev.septum.lab",
        "dev.septum.lab.boot",
        "dev.septum.lab.bootlog",
        "dev.septum.lab.report"
      })
  void everyPackage_wasScannedAndIsDescribed(String name) {
    assertThat(HOUSE.containPackage(name)).isTrue();
    assertThat(HOUSE.getPackage(name).getClasses()).hasSizeGreaterThan(3);
    assertThat(sources("package-info.java"))
        .anyMatch(path -> path.toString().replace('\\', '/').endsWith(pathOf(name)));
  }

  private static String pathOf(String packageName) {
    return packageName.replace('.', '/') + "/package-info.java";
  }

  /** ArchUnit sees synchronized methods but not blocks. */
  @Test
  void synchronizedBlocks_areInTheKernelPackageOnly() throws IOException {
    List<String> found = new ArrayList<>();
    for (Path source : sources(".java")) {
      if (Files.readString(source).contains("synchronized (")) {
        found.add(source.getName(source.getNameCount() - 2).toString());
      }
    }

    assertThat(found).isNotEmpty().containsOnly("kernel");
  }

  /** The main sources whose name ends like that; this test runs in its module's directory. */
  private static List<Path> sources(String ending) {
    try (Stream<Path> files = Files.walk(Path.of(".."))) {
      return files
          .filter(path -> path.toString().replace('\\', '/').contains("/src/main/java/"))
          .filter(path -> path.toString().endsWith(ending))
          .toList();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  @Test
  void undisciplinedClass_setsOffEveryAlarmThatItCan() {
    JavaClasses bad = new ClassFileImporter().importClasses(Undisciplined.class);

    assertThat(failures(NO_SYNCHRONISERS, bad))
        .anyMatch(text -> text.contains("java.util.concurrent.locks.ReentrantLock"))
        .anyMatch(text -> text.contains("java.util.concurrent.atomic.AtomicLong"))
        .anyMatch(text -> text.contains("java.lang.Thread"));
    assertThat(failures(NO_SYNCHRONIZED_METHODS, bad))
        .anyMatch(text -> text.contains("Undisciplined.count()"));
    assertThat(failures(mayUse("dev.septum.it.bad", "dev.septum.kernel.."), bad))
        .anyMatch(text -> text.contains("dev.septum.lab.Progress"));
  }

  private static List<String> failures(ArchRule rule, JavaClasses classes) {
    return rule.evaluate(classes).getFailureReport().getDetails();
  }
}
