package dev.septum.it.mutants;

import static org.assertj.core.api.Assertions.assertThat;

import com.google.common.collect.ImmutableList;
import java.io.IOException;
import java.io.InputStream;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.objectweb.asm.ClassReader;
import org.objectweb.asm.ClassVisitor;
import org.objectweb.asm.ClassWriter;
import org.objectweb.asm.MethodVisitor;
import org.objectweb.asm.Opcodes;

/**
 * Defines every class of ours anew, one of them with edits; libraries are those of the parent.
 * Nobody outside sees the mutant, and nothing of it stays.
 */
final class MutantLoader extends ClassLoader {

  private final String mutated;
  private final Map<Edit, Integer> hits = new LinkedHashMap<>();

  MutantLoader(String mutated, List<Edit> edits) {
    super(MutantLoader.class.getClassLoader());
    this.mutated = mutated;
    edits.forEach(edit -> hits.put(edit, 0));
  }

  /** Fails unless each edit changed the places that it is about, and no others. */
  void assertEachEditHit() {
    assertThat(hits)
        .allSatisfy((edit, count) -> assertThat(count).as("%s", edit).isEqualTo(edit.times()));
  }

  @Override
  protected Class<?> loadClass(String name, boolean resolve) throws ClassNotFoundException {
    if (!name.startsWith("dev.septum.")) {
      return super.loadClass(name, resolve);
    }
    synchronized (getClassLoadingLock(name)) {
      Class<?> loaded = findLoadedClass(name);
      return loaded == null ? define(name) : loaded;
    }
  }

  private Class<?> define(String name) throws ClassNotFoundException {
    byte[] code;
    try (InputStream in = getResourceAsStream(name.replace('.', '/') + ".class")) {
      if (in == null) {
        throw new ClassNotFoundException(name);
      }
      code = in.readAllBytes();
    } catch (IOException e) {
      throw new ClassNotFoundException(name, e);
    }
    byte[] defined = name.equals(mutated) ? mutate(code) : code;
    return defineClass(name, defined, 0, defined.length);
  }

  private byte[] mutate(byte[] code) {
    ClassWriter writer = new ClassWriter(ClassWriter.COMPUTE_MAXS);
    new ClassReader(code)
        .accept(
            new ClassVisitor(Opcodes.ASM9, writer) {
              @Override
              public MethodVisitor visitMethod(
                  int access,
                  String name,
                  String descriptor,
                  String signature,
                  String[] exceptions) {
                MethodVisitor visitor =
                    super.visitMethod(access, name, descriptor, signature, exceptions);
                for (Edit edit : ImmutableList.copyOf(hits.keySet())) {
                  if (edit.method().equals(name)) {
                    visitor = edit.over(visitor, () -> hits.merge(edit, 1, Integer::sum));
                  }
                }
                return visitor;
              }
            },
            0);
    return writer.toByteArray();
  }
}
