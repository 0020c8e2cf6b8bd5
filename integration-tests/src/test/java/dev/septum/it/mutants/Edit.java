package dev.septum.it.mutants;

import org.objectweb.asm.MethodVisitor;
import org.objectweb.asm.Opcodes;
import org.objectweb.asm.Type;

/**
 * One change to one method.
 *
 * @param method the method that is changed
 * @param what the call in it that is replaced, by name, or the constant
 * @param nth which one of several, from 1 on; 0 for every one
 * @param times how many places that are
 * @param change what comes in its place
 */
record Edit(String method, String what, int nth, int times, Change change) {

  /** What comes in place of a call or a constant. */
  private sealed interface Change {}

  /** The call is left out; what it would answer is this, null or 0 for a reference. */
  private record Answer(int value) implements Change {}

  /** A method of {@link Instead} is called with the same receiver and arguments. */
  private record Call(String method) implements Change {}

  /** Another constant. */
  private record Constant(long value) implements Change {}

  /** A method whose calls are changed. */
  static In in(String method) {
    return new In(method);
  }

  /** A method, of which an edit is still to be said. */
  record In(String method) {

    /** Leaves a call out. */
    Edit drop(String call) {
      return answer(call, 0);
    }

    /** Leaves a call out and takes an answer for granted. */
    Edit answer(String call, int value) {
      return new Edit(method, call, 1, 1, new Answer(value));
    }

    /** Calls a method of {@link Instead}. */
    Edit replace(String call, String instead) {
      return new Edit(method, call, 1, 1, new Call(instead));
    }

    /** Compares with another constant, or stores it. */
    Edit constant(long from, long to) {
      return new Edit(method, Long.toString(from), 1, 1, new Constant(to));
    }
  }

  /** The same change where the call comes for the {@code number}th time. */
  Edit nth(int number) {
    return new Edit(method, what, number, 1, change);
  }

  /** The same change wherever the call comes, which is in so many places. */
  Edit times(int places) {
    return new Edit(method, what, 0, places, change);
  }

  /** The method with the change in it; {@code hit} runs for each place that is changed. */
  MethodVisitor over(MethodVisitor next, Runnable hit) {
    return new MethodVisitor(Opcodes.ASM9, next) {
      private int seen;

      @Override
      public void visitMethodInsn(
          int opcode, String owner, String name, String descriptor, boolean isInterface) {
        if (change instanceof Constant || !name.equals(what) || !isMeant()) {
          super.visitMethodInsn(opcode, owner, name, descriptor, isInterface);
          return;
        }
        hit.run();
        boolean hasReceiver = opcode != Opcodes.INVOKESTATIC;
        if (change instanceof Call call) {
          String receiver = hasReceiver ? "L" + owner + ";" : "";
          super.visitMethodInsn(
              Opcodes.INVOKESTATIC,
              Type.getInternalName(Instead.class),
              call.method(),
              "(" + receiver + descriptor.substring(1),
              false);
        } else if (change instanceof Answer answer) {
          discard(descriptor, hasReceiver);
          push(Type.getReturnType(descriptor), answer.value());
        }
      }

      @Override
      public void visitLdcInsn(Object value) {
        boolean same = change instanceof Constant && value.toString().equals(what);
        if (same && isMeant() && change instanceof Constant constant) {
          hit.run();
          super.visitLdcInsn(constant.value());
        } else {
          super.visitLdcInsn(value);
        }
      }

      private boolean isMeant() {
        seen++;
        return nth == 0 || seen == nth;
      }

      private void discard(String descriptor, boolean hasReceiver) {
        Type[] arguments = Type.getArgumentTypes(descriptor);
        for (int i = arguments.length - 1; i >= 0; i--) {
          visitInsn(arguments[i].getSize() == 2 ? Opcodes.POP2 : Opcodes.POP);
        }
        if (hasReceiver) {
          visitInsn(Opcodes.POP);
        }
      }

      private void push(Type type, int value) {
        switch (type.getSort()) {
          case Type.VOID -> {}
          case Type.LONG -> visitLdcInsn((long) value);
          case Type.OBJECT, Type.ARRAY -> visitInsn(Opcodes.ACONST_NULL);
          default -> visitInsn(value == 0 ? Opcodes.ICONST_0 : Opcodes.ICONST_1);
        }
      }
    };
  }
}
