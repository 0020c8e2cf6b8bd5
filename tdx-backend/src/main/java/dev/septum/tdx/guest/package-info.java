/** What runs inside a TD: small programs that accept, touch and convert memory as a guest does. */
package dev.septum.tdx.guest;
