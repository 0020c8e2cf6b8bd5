/** Tests of KVM's TDX side. */
@org.jspecify.annotations.NullMarked
package dev.septum.tdx;
