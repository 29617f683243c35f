package dev.imgd.client;

import java.lang.ref.Cleaner;

/** Ends what a program lost without closing it. */
final class Dropped {
  static final Cleaner CLEANER = Cleaner.create();

  private Dropped() {}
}
