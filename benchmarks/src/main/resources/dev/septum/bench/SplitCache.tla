---- MODULE SplitCache ----
(* The split cache: count without the lock, top up outside every lock, count again inside the
   cache's lock, take. One step for each access that other threads can see, as in the Java code;
   mmu_lock, which all hold for read, is left out. *)
EXTENDS Integers

CONSTANTS
  Splitters, Toppers,
  Cached,       \* pages in the cache at the start
  MinSize,      \* pages that one split may need
  Taken,        \* pages that it does take
  Failures,     \* how many allocations may fail
  ChecksAgain   \* FALSE: the mutant, which believes what it saw before it had the lock

VARIABLES count, holder, pc, left, failures

vars == <<count, holder, pc, left, failures>>
Threads == Splitters \union Toppers
Nobody == "nobody"

Init ==
  /\ count = Cached
  /\ holder = Nobody
  /\ pc = [t \in Threads |-> IF t \in Splitters THEN "look" ELSE "topup"]
  /\ left = [t \in Threads |-> 0]
  /\ failures = Failures

Goto(t, label) == pc' = [pc EXCEPT ![t] = label]

Look(t) ==
  /\ pc[t] = "look"
  /\ Goto(t, IF count < MinSize THEN "topup" ELSE "lock to take")
  /\ UNCHANGED <<count, holder, left, failures>>

LockToTake(t) ==
  /\ pc[t] = "lock to take"
  /\ holder = Nobody
  /\ holder' = t
  /\ Goto(t, "look again")
  /\ UNCHANGED <<count, left, failures>>

LookAgain(t) ==
  /\ pc[t] = "look again"
  /\ IF ChecksAgain /\ count < MinSize
     THEN holder' = Nobody /\ Goto(t, "topup") /\ UNCHANGED left
     ELSE left' = [left EXCEPT ![t] = Taken] /\ Goto(t, "take") /\ UNCHANGED holder
  /\ UNCHANGED <<count, failures>>

Take(t) ==
  /\ pc[t] = "take"
  /\ count' = count - 1
  /\ left' = [left EXCEPT ![t] = @ - 1]
  /\ IF left[t] = 1
     THEN holder' = Nobody /\ Goto(t, "done")
     ELSE UNCHANGED <<holder, pc>>
  /\ UNCHANGED failures

Topup(t) ==
  /\ pc[t] = "topup"
  /\ IF count < MinSize
     THEN \/ Goto(t, "lock to push") /\ UNCHANGED failures
          \/ failures > 0 /\ failures' = failures - 1 /\ Goto(t, "done")
     ELSE Goto(t, IF t \in Splitters THEN "look" ELSE "done") /\ UNCHANGED failures
  /\ UNCHANGED <<count, holder, left>>

LockToPush(t) ==
  /\ pc[t] = "lock to push"
  /\ holder = Nobody
  /\ holder' = t
  /\ Goto(t, "push")
  /\ UNCHANGED <<count, left, failures>>

Push(t) ==
  /\ pc[t] = "push"
  /\ count' = count + 1
  /\ holder' = Nobody
  /\ Goto(t, "topup")
  /\ UNCHANGED <<left, failures>>

Ended == (\A t \in Threads : pc[t] = "done") /\ UNCHANGED vars

Next ==
  \/ \E t \in Threads :
       Look(t) \/ LockToTake(t) \/ LookAgain(t) \/ Take(t) \/ Topup(t) \/ LockToPush(t) \/ Push(t)
  \/ Ended

Spec == Init /\ [][Next]_vars

(* A cache that was seen to have enough is not empty when the pages are drawn. *)
NeverEmpty == count >= 0
====
