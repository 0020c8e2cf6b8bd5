package dev.septum.lab.sweep;

/**
 * A place where a flow can be disturbed.
 *
 * @param place what is allocated, called or locked there
 * @param number which time it is, from 1, since the flow began
 */
record Point(String place, int number) {

  @Override
  public String toString() {
    return place + "#" + number;
  }
}
