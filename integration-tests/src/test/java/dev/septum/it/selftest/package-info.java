/**
 * KVM's own selftests, as far as the TDP MMU answers them: the same steps and the same figures,
 * each class named after its program under {@code tools/testing/selftests/kvm}.
 */
@org.jspecify.annotations.NullMarked
package dev.septum.it.selftest;
