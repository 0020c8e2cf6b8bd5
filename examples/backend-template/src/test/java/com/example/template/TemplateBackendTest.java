package com.example.template;

import dev.septum.kit.AllRules;
import dev.septum.kit.Subject;

class TemplateBackendTest extends AllRules {
  @Override protected Subject subject() { return new Subject(new TemplateBackend()); }
}
