package dev.septum.kernel;

/** What a thread is about to do at a scheduling point, to the object of that point. */
public enum PointKind {
  /** A thread's first step; its object is nobody else's. */
  BEGIN,
  /** Waits for a thread's end. */
  JOIN,
  /** Gives another thread a chance to run. */
  YIELD,
  /** Waits for an event that is not a lock's release. */
  WAIT,
  /** Something that nobody else can see, such as the entry to a SEAMCALL. */
  LOCAL,
  /** Reads a word. */
  READ,
  /** Reads what additions to a word leave alone. */
  READ_REST,
  /** Writes a word. */
  WRITE,
  /** Reads and writes a word in one step. */
  UPDATE,
  /** Adds to a word without looking at the sum: two of these commute. */
  ADD,
  /** Comes to a reader-writer lock and is seen waiting there. */
  ARRIVE,
  /** Takes a lock for itself alone. */
  ACQUIRE,
  /** Takes a lock together with others. */
  ACQUIRE_SHARED,
  /** Takes a page or an object from an allocator. */
  ALLOCATE,
  /** Gives a page or an object back to an allocator. */
  FREE;

  /**
   * Whether the order of two steps of these kinds at one object can make a difference. Steps of
   * different objects never conflict.
   */
  public boolean conflictsWith(PointKind other) {
    return switch (this) {
      case BEGIN, JOIN, YIELD, WAIT, LOCAL -> false;
      case READ -> other == WRITE || other == UPDATE || other == ADD || other == ARRIVE;
      case READ_REST -> other == WRITE || other == UPDATE;
      case WRITE, UPDATE ->
          other == READ || other == READ_REST || other == WRITE || other == UPDATE || other == ADD;
      case ADD -> other == READ || other == WRITE || other == UPDATE;
      case ARRIVE -> other == READ;
      case ACQUIRE -> other == ACQUIRE || other == ACQUIRE_SHARED;
      case ACQUIRE_SHARED -> other == ACQUIRE;
      case ALLOCATE -> other == ALLOCATE || other == FREE;
      case FREE -> other == ALLOCATE;
    };
  }

  /** Whether any step conflicts with one of this kind. */
  public boolean hasConflicts() {
    return compareTo(LOCAL) > 0;
  }

  /**
   * Whether such a step comes after every earlier one at its object that conflicts with it: those
   * that come later need not look past it.
   */
  public boolean comesAfterAll() {
    return this == WRITE || this == UPDATE || this == ACQUIRE || this == ALLOCATE;
  }

  /** Whether such a step changes what another thread can read. */
  public boolean isChange() {
    return this == WRITE || this == UPDATE || this == ADD;
  }

  /** Whether a thread that stands before such a step may have to wait for others. */
  public boolean mayWait() {
    return switch (this) {
      case BEGIN, JOIN, YIELD, WAIT, ARRIVE, ACQUIRE, ACQUIRE_SHARED -> true;
      case LOCAL, READ, READ_REST, WRITE, UPDATE, ADD, ALLOCATE, FREE -> false;
    };
  }

  /** The kind as reports print it. */
  public String word() {
    return name().toLowerCase(java.util.Locale.ROOT).replace('_', ' ');
  }
}
