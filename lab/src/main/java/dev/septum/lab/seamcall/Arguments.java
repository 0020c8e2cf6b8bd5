package dev.septum.lab.seamcall;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableMap;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** The words of a line, read from left to right. */
final class Arguments {

  private static final ImmutableMap<String, Integer> LEVELS =
      ImmutableMap.of("4K", 0, "2M", 1, "1G", 2, "512G", 3);

  private static final String NAME = "[a-zA-Z_][a-zA-Z0-9_.]*";

  private final ScriptLine line;
  private final Scope scope;
  private final ImmutableList<String> words;
  private final List<String> newNames = new ArrayList<>();
  private int next;

  Arguments(ScriptLine line, Scope scope) {
    this.line = line;
    this.scope = scope;
    this.words = line.words();
  }

  ScriptLine line() {
    return line;
  }

  boolean hasNext() {
    return next < words.size();
  }

  /** The next word; {@code accepted} says what it may be. */
  String word(String accepted) throws ScriptException {
    if (!hasNext()) {
      throw line.error(words.get(next - 1), "is the last word of the line", accepted);
    }
    return words.get(next++);
  }

  /** The next word if it is {@code word}. */
  boolean skip(String word) {
    boolean is = hasNext() && words.get(next).equals(word);
    next += is ? 1 : 0;
    return is;
  }

  Expression expression() throws ScriptException {
    return expression(word(Expression.ACCEPTED));
  }

  Expression expression(String word) throws ScriptException {
    return Expression.parse(word, line, scope);
  }

  /** A page size: the module's number of its level. */
  int level() throws ScriptException {
    String accepted = String.join(", ", LEVELS.keySet());
    String word = word(accepted);
    Integer level = LEVELS.get(word);
    if (level == null) {
      throw line.error(word, "is no page size", accepted);
    }
    return level;
  }

  /** A name that the rest of the script may use. */
  String newName() throws ScriptException {
    String accepted = "a name of letters, digits, _ and . that is no number and no register";
    String word = word(accepted);
    if (!word.matches(NAME) || Register.of(word).isPresent()) {
      throw line.error(word, "cannot be a variable", accepted);
    }
    newNames.add(word);
    return word;
  }

  /** A name that comes with another. */
  void alsoNames(String name) {
    newNames.add(name);
  }

  /** A register by its name. */
  Register register(String word) throws ScriptException {
    Optional<Register> register = Register.of(word);
    if (register.isEmpty()) {
      throw line.error(word, "is no register", "rax to r15");
    }
    return register.get();
  }

  /** Refuses words that are left over; names of a line that is right are known from then on. */
  void end() throws ScriptException {
    if (hasNext()) {
      throw line.error(words.get(next), "is one word too many", "the end of the line");
    }
    newNames.forEach(scope::define);
  }
}
