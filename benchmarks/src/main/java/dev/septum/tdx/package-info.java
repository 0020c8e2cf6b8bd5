/** The programs that are measured and need what is package-private in the TDX backend. */
package dev.septum.tdx;
