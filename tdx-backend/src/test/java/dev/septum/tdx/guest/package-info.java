/** Tests of the guest programs. */
@org.jspecify.annotations.NullMarked
package dev.septum.tdx.guest;
