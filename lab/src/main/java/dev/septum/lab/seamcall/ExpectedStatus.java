package dev.septum.lab.seamcall;

import com.google.common.base.Splitter;
import dev.septum.tdx.module.TdxStatus;
import java.util.List;
import java.util.Optional;

/**
 * A status that a script expects: {@code TDX_OPERAND_BUSY|R12}, or {@code TDX_OPERAND_BUSY} with
 * any details.
 */
record ExpectedStatus(long status, boolean hasDetails) {

  static final String ACCEPTED =
      "a status such as TDX_SUCCESS, TDX_OPERAND_BUSY|R12, TDX_OP_STATE_INCORRECT|1 or 0x8000...";

  static ExpectedStatus parse(String word, ScriptLine line) throws ScriptException {
    List<String> parts = Splitter.on('|').limit(2).splitToList(word);
    Optional<Long> code = Symbols.status(parts.get(0)).or(() -> Expression.number(parts.get(0)));
    if (code.isEmpty()) {
      throw line.error(parts.get(0), "is no status", ACCEPTED);
    }
    boolean named = Symbols.status(parts.get(0)).isPresent();
    if (parts.size() == 1) {
      return new ExpectedStatus(code.get(), !named || code.get() == TdxStatus.TDX_SUCCESS);
    }
    Optional<Long> detail = Symbols.operand(parts.get(1)).or(() -> Expression.number(parts.get(1)));
    if (detail.isEmpty()) {
      throw line.error(parts.get(1), "is no operand", "rcx, r8, sept_tree, ... or a number");
    }
    return new ExpectedStatus(code.get() | detail.get(), true);
  }

  String text() {
    return TdxStatus.describe(status);
  }

  /** What a status is, in the same words and with as many details. */
  String asFarAsAskedFor(long actual) {
    return TdxStatus.describe(hasDetails ? actual : TdxStatus.code(actual));
  }
}
