// For the page that follows a sign-out.
import { tellSignedOut } from "./lib/other_tabs.js";

tellSignedOut();
