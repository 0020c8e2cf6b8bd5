/** Tests of the TDX module. */
@org.jspecify.annotations.NullMarked
package dev.septum.tdx.module;
