// For the page after a sign-out.
import { tellSignedOut } from "./lib/other_tabs.js";

tellSignedOut();
