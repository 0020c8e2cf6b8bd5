package dev.septum.it;

import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.MethodSource;

/** A test class that holds for the sound design and for the posted one: it is given either. */
@ParameterizedClass(name = "{0}")
@MethodSource("dev.septum.it.TdScenario#designs")
@Target(ElementType.TYPE)
@Retention(RetentionPolicy.RUNTIME)
@interface EachDesign {}
